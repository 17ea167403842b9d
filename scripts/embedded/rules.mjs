/**
 * The words of the grammar: rule name → alternatives, in the language of `expand.mjs`.
 * About 650 different words with those of the other files, and names that are made up: few enough for whole words to be tokens.
 */
export const rules = {
  // Time
  hour: 'one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve',
  digitHour: '1|2|3|4|5|6|7|8|9|10|11|12',
  time: `<hour>|<hour>|<hour> (thirty|fifteen|forty|twenty)|half past <hour>|(quarter|ten) (to|past) <hour>|noon|
    midnight|<digitHour>:(00|05|10|15|20|25|30|35|40|45|50|55)|<digitHour>:(15|30|45)|<digitHour> (am|pm)`,
  weekday: 'Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday',
  day: '<weekday>|<weekday>|<weekday>|today|tomorrow|next <weekday>|this <weekday>',
  duration: `
    (two|three|four|five|six|eight|ten|twelve|fifteen|twenty|thirty|forty|fifty|<digits>) (minutes|minutes|seconds)|
    (two|three|four|five|six) hours|one hour|one minute|half an hour`,
  digits: '(1|2|3|4|5|6|7|8|9)(0|1|2|3|4|5|6|7|8|9)',
  guests: 'two|three|four|five|six|seven|eight|nine|ten|eleven|twelve',
  amount: `<guests>|<guests>|twenty|thirty|forty|fifty|one hundred|two hundred|<digits>|<digits>|<digits>(0|5)|
    (2|3|4|5|6|7|8|9)`,

  // People and places
  firstName: `Anna|Ben|Clara|David|Emma|Felix|Grace|Henry|Jack|Kate|Leo|Maria|Nina|Oscar|Paula|Rosa|Sam|Tom|Vera|
    Adam|George|Julia|Max|Peter`,
  lastName: 'Hill|Wood|Stone|Lake|King|Rose|Baker|Green',
  relative: 'my (sister|brother|boss|mother|father|friend)',
  person: '<firstName>|<firstName>|<firstName>|<firstName>|<firstName> <lastName>|<relative>|<relative>|<made>',
  city: '<knownCity>|<knownCity>|<knownCity>|<knownCity>|<knownCity>|<made>',
  knownCity: `Paris|Oslo|Lisbon|Vienna|Dublin|Madrid|Rome|Prague|Berlin|London|Athens|Boston|Chicago|Denver|Toronto|
    Sydney|Tokyo|Cairo|Lima|Milan|Leeds|York|New York|Cape Town`,
  // Names that nobody has: they can only be copied, never guessed.
  made: '(B|D|F|G|H|K|L|M|N|P|R|S|T|V)(a|e|i|o|u)(b|d|f|g|k|l|m|n|p|r|s|t|v)(a|e|i|o|u)(n|r|s|l|x|||)',
  room: `kitchen|bedroom|bathroom|living room|hall|garage|office|garden|attic|basement|dining room|guest room|
    library|studio`,
  device: 'lights|lamp|fan|heater|radio|speaker|coffee machine|oven|television|printer|lights|lamp',
  state: 'on|off',
  destination: `airport|train station|city museum|(central|public|school) library|town hall|
    (north|south|east|west) gate|old (bridge|church|castle)|city (park|center|zoo|hospital)|football stadium|
    post office|(nearest|next) (bakery|pharmacy|bank|hotel|beach|market|bus stop|police station)`,
  transport: 'bus|bike|car|train|tram|taxi|boat|metro',
  restaurant: `(Golden|Blue|Red|Little|Happy|Green|Silver|Old) (Spoon|Garden|Table|Dragon|Moon|Star|Rose|Window)|
    <made>`,

  // Things
  food: `milk|butter|bread|cheese|rice|sugar|salt|coffee|tea|honey|orange juice|chocolate|pasta|soup|water|fish|
    chicken|soap`,
  fruit: 'apples|bananas|oranges|lemons|grapes|tomatoes|potatoes|onions|carrots|eggs|cookies',
  goods: 'batteries|candles|paper towels|plates|balloons|light bulbs|towels|socks|pencils|boxes',
  item: `<food>|<food>|(fresh|brown|white|cold|cheap) <food>|<fruit>|<fruit>|(green|red|fresh|big|small) <fruit>|
    (two|three|four|six|ten|twelve) <fruit>|<goods>|<goods>|(two|three|four|six|ten) <goods>|
    (a bottle|two bottles|a box|two boxes|a bag|three bags) of <food>`,
  list: 'shopping|party|packing|kitchen|holiday|birthday|picnic|school|office|weekend',
  label: `rice|pasta|bread|cake|soup|tea|pizza|chicken|laundry|game|homework|break|coffee|fish|oven|washing machine|
    speech`,
  adjective: 'Silver|Golden|Blue|Red|Green|Little|Wild|Sweet|Summer|Winter|Paper|Midnight|Happy|Old',
  noun: 'River|Moon|Road|Heart|Rain|Fire|Sky|Star|Garden|Train|Dream|Window|Song|Night',
  song: `<adjective> <noun>|<adjective> <noun>|<adjective> <noun>|<noun> of <noun>|<noun> in the <noun>|
    <adjective> <adjective> <noun>|My <noun>`,
  artist: `<adjective> (Foxes|Wolves|Birds|Tigers|Bears|Horses)|<firstName> <lastName>|<firstName> <lastName>|
    <firstName> and the (Rivers|Moons|Hearts|Stars|Dreams|Windows|Songs)|<made>`,
  language: 'French|Spanish|German|Italian|Polish|Dutch|Greek|Turkish|Danish|Swedish|Czech|Irish|Korean|Hindi',

  // Longer values
  text: `(I am|we are) (running late|on the way|almost there|at the station|back home|still at work|in the garden)|
    (dinner|lunch|the cake|the soup) is (ready|almost ready|getting cold|in the oven)|
    the (train|bus|boat) is (late|early|full)|
    the (meeting|game|concert|party) (starts at <hour>|starts soon|was great|is on <weekday>)|
    the (car|washing machine|printer|heater) is (broken|fixed|very loud)|
    I (need more time|have the tickets|lost my keys|bought <item>|like the new <room>)|
    (I|we) will be (home|there|ready) (soon|at <hour>|in (two|five|ten|twenty) minutes|on <weekday>)|
    the (keys|tickets) are (on the table|in the car|in my bag|in the <room>)|the (dog|cat) is (hungry|fine)|
    <firstName> (is here|is sick|called|says hello)`,
  task: `water the (flowers|garden)|feed the (cat|dog|fish|birds)|walk the dog|call (<firstName>|<relative>)|
    buy <item>|pay the (rent|bill|baker)|lock the (door|garage|car)|pick up the (car|cake|tickets)|
    wash the (car|dog|windows)|clean the <room>|close the (windows|garage)|send the (letter|report)|
    read the (report|letter|book)|turn off the <device>|book the (hotel|train)|practice the (piano|guitar|speech)|
    check the (oven|mail)`,
  title: `(team|sales|project|school|book) meeting|(piano|guitar|swimming|tennis|cooking|<language>) (lesson|class)|
    (dentist|doctor) appointment|birthday party|(lunch|dinner|coffee|call) with <firstName>|football game|concert|
    wedding`,
  phrase: `good (morning|evening|night)|thank you( very much|)|where is the (station|hotel|beach|bathroom|market)|
    how much is (this|the ticket|the room|the bread)|
    I would like (a coffee|a room|some water|some bread|the soup|two tickets)|the bill please|happy birthday|
    I am (lost|hungry|happy|cold)|see you (soon|tomorrow|on <weekday>)|do you speak English|my name is <firstName>|
    I live in <knownCity>|we need (help|a doctor|a taxi|more time)|have a nice (day|trip|evening)`,
  lengthUnit: 'miles|kilometers|meters|feet|inches',
  weightUnit: 'pounds|kilograms|grams|tons',
  volumeUnit: 'cups|liters|gallons|spoons',
  timeUnit: 'minutes|hours|days|weeks|seconds',

  // Talk
  ok: '(Okay|Sure|Of course|Got it),',
  weather: 'sunny|rainy|windy|cold|warm|hot',
  thing: `lamp|river|cup|table|window|flower|clock|stone|boat|chair|key|letter|bridge|bottle|door|box|hat|book|car|
    star|road`,
  animal: 'dog|cat|horse|fish|bird|rabbit|fox|bear',
  color: 'red|blue|green|white|black|brown|silver|golden',
  job: 'baker|teacher|doctor|farmer|painter|pilot|singer',
  hobby: 'tennis|piano|guitar|football|cooking|painting|reading|swimming',
};
