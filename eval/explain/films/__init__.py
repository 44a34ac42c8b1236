"""Films: reading frames with their times, following faces, drawing their maps, writing the film."""
