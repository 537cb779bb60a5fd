"""TODO curation."""
