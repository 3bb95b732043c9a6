// All is there: show it.

startMaps();
startHistogram();
startFilter();
startGrid();
startMarks();
startLists();
startView();
update();
