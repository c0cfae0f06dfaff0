"""Looks into the files of models, also of those that no engine here can run; reads only what is asked for."""
