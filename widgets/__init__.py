"""Components for notebooks and for the served app: one module and one .js file each. They come with the first hands."""
