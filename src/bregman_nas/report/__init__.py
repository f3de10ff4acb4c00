"""What was found: tables and figures, from the files under results/ and from nothing else."""
