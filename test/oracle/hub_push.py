"""Sends a folder to a hub with Python's own client: hub_push.py FOLDER REPO."""

import sys

from huggingface_hub import HfApi

folder, repo = sys.argv[1:]
api = HfApi()
api.create_repo(repo, private=True, exist_ok=True)
api.upload_folder(folder_path=folder, repo_id=repo, commit_message="From Python")
