"""From what an application declares to definitions: what all the layers above need to know of its resources."""
