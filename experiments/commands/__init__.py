"""The commands of `qn`: what each is told, and what it prints. The studies' stand with the papers."""
