"""Hip and thigh muscles and bones on CT, each with its volume, its attenuation and how sure the model is."""
