use serde::{Deserialize, Serialize};
use soloist_sdk::prelude::*;

/// A counter per key. Its state is the bare number.
///
/// Operations on one key run one after the other, each exactly once: no increment is lost and none counts twice.
#[derive(Default, Serialize, Deserialize)]
struct Counter(i64);

#[entity]
impl Counter {
    fn add(&mut self, amount: i64) {
        self.0 += amount;
    }

    fn reset(&mut self) {
        self.0 = 0;
    }

    fn get(&self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use soloist_sdk::testing::EntityScript;

    #[test]
    fn it_counts() {
        let mut counter = EntityScript::new("Counter", "steps");
        counter.signal("add", &3).unwrap();
        counter.signal("add", &-1).unwrap();
        assert_eq!(counter.call::<i64>("get", &()).unwrap(), 2);
        assert_eq!(counter.state_text(), Some("2"));
        counter.signal("reset", &()).unwrap();
        assert_eq!(counter.state_text(), Some("0"));
        counter.signal("delete", &()).unwrap();
        assert_eq!(counter.state_text(), None);
    }
}
