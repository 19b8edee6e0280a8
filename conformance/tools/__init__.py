"""What people work with: delivery, workflows, machine learning, automation."""
