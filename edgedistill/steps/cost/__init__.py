"""What requests cost: those that the teacher answers, and those that the student answers on the device."""
