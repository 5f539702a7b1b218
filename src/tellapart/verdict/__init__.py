"""What a careful reader who has seen everything would say of a result: the verdict."""
