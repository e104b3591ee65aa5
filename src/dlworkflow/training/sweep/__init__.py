"""Many runs of one base of settings: which combinations, run by run or many tiny ones at once, and what came out."""
