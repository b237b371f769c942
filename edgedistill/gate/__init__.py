"""The parts of the quality gate: what decides whether a student may ship, and how it is watched when it has."""
