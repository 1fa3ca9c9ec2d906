"""Pictures for notebooks (bqplot). Import the module you need: this package itself is empty."""
