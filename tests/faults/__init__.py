"""Real faults in real processes and files: full disks, kills, clocks that jump, damage."""
