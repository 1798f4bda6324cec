"""What a representation of speech knows about language: phone alignments, ABX items, ABX error."""
