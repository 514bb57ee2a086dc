"""What lasts: the storage contract, the journal and the write-behind writer."""
