"""Offline preparation: images in, aligned faces, landmarks and AU shapes out."""
