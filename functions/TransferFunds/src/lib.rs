use serde::{Deserialize, Serialize};
use soloist_sdk::prelude::*;

#[derive(Deserialize)]
struct Input {
    from: String,
    to: String,
    amount: u32,
}

/// What is on the accounts afterwards.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Balances {
    from: i64,
    to: i64,
}

/// Moves money between two accounts, all of it or nothing. Fails with kind `InsufficientFunds` if it is not there.
///
/// Between `lock` and `unlock` nobody else sees or changes the two accounts, crashes in between included. Transfers that run
/// into each other wait; they never wait for each other in a circle.
#[orchestrator]
async fn transfer_funds(ctx: OrchestrationContext, input: Input) -> Result<Balances> {
    let (from, to) = (ctx.entity("Account", input.from), ctx.entity("Account", input.to));
    let section = ctx.lock([&from, &to]).await?;

    // If there is not enough, this fails, and so does the transfer. The locks go with it.
    from.call::<i64>("withdraw", &input.amount).await?;
    if let Err(failure) = to.call::<i64>("deposit", &input.amount).await {
        from.call::<i64>("deposit", &input.amount).await?;
        return Err(failure);
    }
    let balances = Balances { from: from.call("balance", &()).await?, to: to.call("balance", &()).await? };

    section.unlock();
    Ok(balances)
}

#[cfg(test)]
mod tests {
    use super::*;
    use soloist_sdk::testing::{Action, Script};
    use std::collections::BTreeMap;

    /// Two accounts, and a transfer of 30 from one to the other.
    fn transfer(from: i64, answers: impl Fn(&str) -> Result<()>) -> (Script, BTreeMap<String, i64>) {
        let mut accounts = BTreeMap::from([("@account@ann".to_owned(), from), ("@account@bob".to_owned(), 5)]);
        let input = Json::from_text(r#"{"from":"ann","to":"bob","amount":30}"#).unwrap();
        let script = Script::run("TransferFunds", &input, |call, amount| {
            answers(call)?;
            let (account, operation) = call.rsplit_once('.').unwrap();
            let balance = accounts.get_mut(account).unwrap();
            match operation {
                "withdraw" if *balance < amount.decode()? => return Err(Failure::new("not enough")),
                "withdraw" => *balance -= amount.decode::<i64>()?,
                "deposit" => *balance += amount.decode::<i64>()?,
                _ => {}
            }
            Ok(Json::encode(balance)?)
        });
        (script, accounts)
    }

    #[test]
    fn money_moves_under_the_locks_of_both_accounts() {
        let (script, accounts) = transfer(100, |_| Ok(()));
        assert_eq!(script.output::<Balances>(), Balances { from: 70, to: 35 });
        assert_eq!(accounts.into_values().collect::<Vec<_>>(), [70, 35]);
        let actions = script.actions();
        assert!(matches!(&actions[0], Action::LockEntities(lock) if lock.entities.len() == 2), "{actions:?}");
        assert!(matches!(actions.last(), Some(Action::UnlockEntities(_))), "{actions:?}");
    }

    #[test]
    fn without_enough_money_nothing_moves() {
        let (script, accounts) = transfer(29, |_| Ok(()));
        assert_eq!(script.failure().message(), "not enough");
        assert_eq!(accounts.into_values().collect::<Vec<_>>(), [29, 5]);
    }

    #[test]
    fn what_cannot_be_deposited_goes_back() {
        let refuses = |call: &str| match call {
            "@account@bob.deposit" => Err(Failure::new("closed")),
            _ => Ok(()),
        };
        let (script, accounts) = transfer(100, refuses);
        assert_eq!(script.failure().message(), "closed");
        assert_eq!(accounts.into_values().collect::<Vec<_>>(), [100, 5]);
    }
}
