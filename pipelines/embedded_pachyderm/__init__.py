"""The embedded Pachyderm: PFS and PPS on one machine, for demos and tests. No part of the product."""
