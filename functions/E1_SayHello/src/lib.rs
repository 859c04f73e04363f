use soloist_sdk::prelude::*;

#[activity]
fn e1_say_hello(name: String) -> String {
    format!("Hello {name}!")
}
