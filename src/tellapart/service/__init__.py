"""Service: runs behind HTTP, and a page to try them on."""
