"""How good the fleet model is: against rivals, on simulated fleets whose faults are known, and on healthy ones."""
