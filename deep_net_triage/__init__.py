"""Deep Net Triage: which blocks of a convolutional network matter.

One block of convolutions at a time is replaced by a single Conv2D + BatchNormalization,
retrained by one of six methods, and compared with the network it came from; after "Deep Net
Triage: Assessing the Criticality of Network Layers by Structural Compression".
"""

from deep_net_triage import devices

# Here, because TensorFlow reads these when it is imported, whoever imports it.
devices.prepare_environment()
