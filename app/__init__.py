"""The digitscope service: recognise handwritten digits and show how the network saw them."""
