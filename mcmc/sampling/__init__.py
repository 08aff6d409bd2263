"""sample and resume, and the steps of a run: the main job."""
