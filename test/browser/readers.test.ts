/** The readers of packages with a build of their own for pages: the same tests as on Node. */
import '../data/documentReaders.test.ts';
import '../data/parquet.test.ts';
