"""From a walking video to an estimate of the SARA score and gait parameters."""
