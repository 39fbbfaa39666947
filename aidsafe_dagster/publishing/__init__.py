"""Release the finished dataset: select its rows, write its files and card, upload it to the Hub."""
