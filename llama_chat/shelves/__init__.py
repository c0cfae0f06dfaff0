"""Where models lie on this machine: our own folder, the Hub's cache, Ollama's, LM Studio's, paths used.

`listing` puts them together; `facts` looks into their headers, without numpy or torch.
"""
