"""The look at the tokens before anything is trained; begin with `look`."""
