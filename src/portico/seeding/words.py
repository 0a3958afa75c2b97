"""Words that sample data is made of. A word that is added, taken out or moved changes what every seed gives."""

# ruff: noqa: SIM905 - a text of words is easier to read than a list of them

FIRST_NAMES = tuple(
    "Ada Amir Anna Arjun Astrid Bea Ben Carla Chen Clara Daniel Diego Dina Elena Emil Esra Eva Farah Felix Finn Grace Hana Hugo Ines Ivan "
    "Jana Jonas Julia Kai Karim Lars Leila Lena Liam Lucia Maja Marco Maria Mateo Mei Mila Nadia Nils Noor Olga Omar Paul Petra Priya Rosa "
    "Ruben Sami Sara Sofia Tariq Theo Tomas Vera Viktor Wei Yara Yusuf Zoe".split()
)
LAST_NAMES = tuple(
    "Abe Adler Ahmed Almeida Andersson Bauer Becker Bianchi Brandt Castro Chen Costa Dubois Eriksen Farouk Fischer Garcia Haddad Hansen "
    "Herrera Hoffmann Ito Ivanova Jansen Jensen Kaya Keller Khan Kim Kowalski Larsen Lopez Marin Meyer Moreau Nakamura Nguyen Novak Okafor "
    "Olsen Patel Pereira Popov Ricci Rossi Santos Sato Schmidt Silva Singh Svensson Tanaka Torres Vogel Weber Wong Yilmaz Zhang".split()
)
COMPANIES = tuple(
    "Alder Amber Anchor Arbor Aspen Beacon Birch Bluebird Boreal Canyon Cedar Cobalt Copper Coral Crescent Delta Ember Fairview Falcon "
    "Fjord Granite Harbor Hazel Heron Horizon Indigo Juniper Keystone Lantern Larch Linden Maple Meadow Meridian Northwind Oakline Onyx "
    "Orchard Pioneer Polaris Quarry Raven Redwood Ridge Saffron Sequoia Silver Spruce Sterling Summit Tamarack Terra Tidewater Umber "
    "Valley Vantage Vista Willow Yarrow Zephyr".split()
)
FORMS = ("Ltd", "GmbH", "Inc", "AB", "SA", "BV", "Co", "Group")
PROJECTS = tuple(
    "Annual report|Billing portal|Brand refresh|Catalogue import|Customer survey|Data retention|Delivery tracking|Field service|"
    "Help centre|Hiring plan|Incident review|Inventory audit|Launch|Loyalty programme|Mobile app|Office move|Onboarding|Partner portal|"
    "Payment terms|Price list|Quarterly planning|Returns process|Roadmap|Sales handbook|Search|Security review|Site migration|"
    "Supplier contracts|Training material|Warehouse layout".split("|")
)
SUBJECTS = tuple(
    "the draft|the contract|the invoice|our supplier|the team|the new layout|the schedule|the budget|the customer|the report|the import|"
    "the second phase|the shipment|the agreement|the test environment|the open question|the forecast|the checklist".split("|")
)
VERBS = tuple(
    "needs|covers|replaces|explains|lists|delays|confirms|depends on|comes before|follows from|is ready for|waits for|includes|changes|"
    "supports|describes".split("|")
)
OBJECTS = tuple(
    "the final approval|three more examples|last month's numbers|a shorter summary|the review on Thursday|both offices|the revised prices|"
    "two further steps|the terms of delivery|what was agreed in spring|a second opinion|the release|all open orders|the next milestone|"
    "a longer trial|the people on site|every region|the existing process".split("|")
)
QUESTIONS = tuple(
    "Can you summarise this for me?|What is still open?|Who has to approve it?|How do I export the list?|When is it due?|"
    "Could you draft a reply?|Which version is the current one?|What changed since last week?|Please translate the first part.|"
    "Where do I find the original file?".split("|")
)
FILES = (
    ("pdf", "application/pdf"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("csv", "text/csv"),
    ("txt", "text/plain"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
)
TOPICS = ("finance", "legal", "product", "people", "operations", "sales", "support")
LANGUAGES = ("en", "de", "fr", "es", "pt", "it")
EVENT_TYPES = ("document.uploaded", "document.approved", "user.signed_in", "invoice.paid", "report.generated", "import.finished")
