"""The formats of image files and the endings of their names; apart from `images`, whose packages import slowly."""

# Pillow's name of a format, and how the names of its files end. A file is read by its content, whatever its name.
FORMATS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png",),
    "BMP": ("bmp",),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "AVIF": ("avif",),
    "HEIF": ("heic", "heif"),  # only with the package pillow-heif
}
SUFFIXES = tuple(f".{ending}" for endings in FORMATS.values() for ending in endings)
ENDINGS = ", ".join(suffix[1:] for suffix in SUFFIXES)  # for messages
