"""What figures of several sections share."""
