// The log-in page.

import { offer } from "./ways.js";

offer(() => location.assign("/account"));
