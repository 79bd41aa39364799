//! Things a newcomer asks for: policies as validation files (`*.yaml`) and short programs (`src/bin`). Each is run by a test.
