use serde::{Deserialize, Serialize};
use soloist_sdk::prelude::*;

/// A bank account per key. It is never overdrawn.
#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[entity]
impl Account {
    fn balance(&self) -> i64 {
        self.balance
    }

    fn deposit(&mut self, amount: u32) -> i64 {
        self.balance += i64::from(amount);
        self.balance
    }

    /// Whatever fails leaves the account as it was.
    fn withdraw(&mut self, ctx: EntityContext, amount: u32) -> Result<i64> {
        self.balance -= i64::from(amount);
        if self.balance < 0 {
            let message = format!("account {} has not {amount} to withdraw", ctx.key());
            return Err(Failure::new(message).with_kind("InsufficientFunds").non_retriable());
        }
        Ok(self.balance)
    }
}

#[cfg(test)]
mod tests {
    use soloist_sdk::testing::EntityScript;

    #[test]
    fn it_is_never_overdrawn() {
        let mut account = EntityScript::new("Account", "ann");
        assert_eq!(account.call::<i64>("deposit", &10).unwrap(), 10);
        assert_eq!(account.call::<i64>("withdraw", &4).unwrap(), 6);
        let failure = account.call::<i64>("withdraw", &7).unwrap_err();
        assert_eq!((failure.kind(), failure.message()), ("InsufficientFunds", "account ann has not 7 to withdraw"));
        assert_eq!(account.call::<i64>("balance", &()).unwrap(), 6);
        account.signal("deposit", &-1).unwrap_err();
    }
}
