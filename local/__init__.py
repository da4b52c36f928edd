"""The embedded AWS: reads the synthesized cloud assembly, creates what it declares, starts the processes it names."""
