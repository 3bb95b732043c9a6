"""Score any number of files: a row per file, in their order, in bounded memory.

    path -> open_image      the header; then wait until there is room for the pixels
         -> metric.look     what the network looks at, of the picture or of each of its tiles
         -> metric.rate     one by one on the CPU, in batches on a GPU
         -> Row

On the CPU a worker is a process that does all of this with a thread of its own: that uses the cores better than one
network with many threads, and a decoder that crashes takes one row with it. On a GPU workers are threads that decode.
"""
