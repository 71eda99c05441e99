//! Where an engine can be made, and where it says that it cannot.

use pool_core::compute::ScriptedCompute;
use pool_core::{Engine, Error};

#[test]
fn outside_of_a_runtime_there_is_no_engine() {
    assert!(matches!(Engine::builder().build().unwrap_err(), Error::NoRuntime));
    let scripted = Engine::builder().compute(ScriptedCompute::instant()).build();
    assert!(matches!(scripted.unwrap_err(), Error::NoRuntime));
}

#[test]
fn in_a_runtime_without_timers_there_is_no_engine() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(async { Engine::builder().build().unwrap_err() });
    assert!(matches!(error, Error::NoTimer), "{error}");
    assert!(error.to_string().contains("enable_time"), "{error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(async { Engine::builder().build().is_ok() }));
}
