"""The freeze stage: what the cluster holds, which commits are saved, and the plan to export them."""
