"""The released code of the article run beside ours; none of it is in this repository."""
