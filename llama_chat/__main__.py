"""`python -m llama_chat` is the command `llama-chat`."""

from llama_chat.cli import main

if __name__ == "__main__":
    main()
