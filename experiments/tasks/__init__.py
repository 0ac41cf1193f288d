"""This project's own tasks: importing a module of this folder registers its tasks with Gymnasium."""
