"""What programs/ and apps/ declare: where each program comes from, its images, and the manifests bundled from it."""
