"""What works behind the chat: engine and store on their own threads, and the notes that come back."""
