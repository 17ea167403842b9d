/** For the tests: puts each test process in the surroundings that set-up found. */
import { useAdapterEnvironment } from './environment.mjs';

useAdapterEnvironment();
