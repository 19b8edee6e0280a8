"""What a store holds, as one stream by its client library: `dump` prints it, `load` replaces with it what is there."""
