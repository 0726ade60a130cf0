"""What a device trains in a second: populations of networks, the closed-loop environment, PPO.

Every figure of a device stands beside one CPU core of the same machine, measured by the same command. With
`--device cpu` both sides are that core: populations against trainings one by one.
"""
